-- Renew the lease: 3 its milliseconds; 4 what is known about the node. Returns the number of its
-- inbox, all nodes, each with what is known and whether it has a lease, and the time.
if leaseless() then return {'LEASE'} end
redis.call('PEXPIRE', P .. 'n:' .. node, ARGV[3])
redis.call('PEXPIRE', P .. 'i:' .. node, ttl)
redis.call('PEXPIRE', P .. 'life', 86400000)
redis.call('HSET', P .. 'nodes', node, ARGV[4])
local nodes = redis.call('HGETALL', P .. 'nodes')
local found = {}
for i = 1, #nodes, 2 do
  found[#found + 1] = nodes[i]
  found[#found + 1] = nodes[i + 1]
  found[#found + 1] = redis.call('EXISTS', P .. 'n:' .. nodes[i])
end
return {'OK', redis.call('GET', P .. 'i:' .. node) or '0', found, redis.call('TIME')}
