-- 8 the change, for the other nodes; 9 number of updates, then keys and values; number of deleted
-- keys, then these.
local refused = refuse()
if refused then return refused end
local version = advance()
local count = tonumber(ARGV[9])
for i = 1, count do
  local key = ARGV[8 + 2 * i]
  local before = redis.call('HGET', STATE, key)
  local order = before and string.match(before, '^([^;]*);')
    or version .. '.' .. string.format('%06d', i)
  redis.call('HSET', STATE, key, order .. ';' .. ARGV[9 + 2 * i])
end
local place = 10 + 2 * count
for i = 1, tonumber(ARGV[place]) do redis.call('HDEL', STATE, ARGV[place + i]) end
redis.call('PEXPIRE', STATE, ttl)
tell(version, 'K', at, ARGV[8])
return answer(version)
