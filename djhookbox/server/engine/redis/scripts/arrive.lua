-- A user has a connection here: 3 the options of the latest connect.
if leaseless() then return {'LEASE'} end
local first = #nodes_of_user() == 0 and '1' or '0'
redis.call('HSET', USER, 'n' .. node, '1', 'o', ARGV[3])
redis.call('SADD', P .. 'v:' .. node, name)
redis.call('PEXPIRE', USER, ttl)
redis.call('PEXPIRE', P .. 'v:' .. node, ttl)
tell('O', '-', ARGV[3])
local channels = {}
local fields = redis.call('HGETALL', USER)
for i = 1, #fields, 2 do
  local channel = string.match(fields[i], '^c(.*)$')
  if channel then channels[#channels + 1] = channel end
end
return {'OK', first, watched(), channels}
