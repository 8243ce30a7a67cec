-- A user joins or leaves a channel with all connections: 3 "+" or "-"; 4 the channel; 5 details,
-- for the user's other nodes.
if leaseless() then return {'LEASE'} end
if ARGV[3] == '+' then
  redis.call('HSET', USER, 'c' .. ARGV[4], '1')
  redis.call('PEXPIRE', USER, ttl)
else
  redis.call('HDEL', USER, 'c' .. ARGV[4])
  if redis.call('HLEN', USER) == 0 then redis.call('DEL', USER) end
end
tell(ARGV[3], #ARGV[4], ARGV[4] .. ARGV[5])
return {'OK'}
