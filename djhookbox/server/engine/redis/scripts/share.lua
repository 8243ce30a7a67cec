-- A user joins or leaves a channel with all connections: 3 "+" or "-"; 4 the channel; 5 details,
-- for the user's other nodes.
if leaseless() then return {'LEASE'} end
if ARGV[3] == '+' then
  local now = redis.call('TIME') -- channels keep the order in which they were entered
  redis.call('HSETNX', USER, 'c' .. ARGV[4],
    string.format('%.0f', tonumber(now[1]) * 1000000 + tonumber(now[2])))
  redis.call('PEXPIRE', USER, ttl)
else
  redis.call('HDEL', USER, 'c' .. ARGV[4])
  if redis.call('HLEN', USER) == 0 then redis.call('DEL', USER) end
end
tell(ARGV[3], #ARGV[4], ARGV[4] .. ARGV[5])
return {'OK'}
