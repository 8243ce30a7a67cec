-- Use a token once: the name is its digest; 3 milliseconds; 4 the connection.
local key = P .. 't:' .. name
local before = redis.call('GET', key)
if before then return {'OK', before == ARGV[4] and '1' or '0'} end
if ARGV[3] ~= '0' then redis.call('SET', key, ARGV[4], 'PX', ARGV[3]) end
return {'OK', '1'}
