-- A user has no connection left at the calling node, or at node 3, which has no lease.
if leaseless() then return {'LEASE'} end
local gone = ARGV[3]
if gone ~= node and redis.call('EXISTS', P .. 'n:' .. gone) == 1 then return {'ALIVE'} end
local there = redis.call('HDEL', USER, 'n' .. gone)
redis.call('SREM', P .. 'v:' .. gone, name)
local last = '0'
if #nodes_of_user() == 0 then
  redis.call('DEL', USER)
  last = tostring(there)
end
return {'OK', last, watched()}
