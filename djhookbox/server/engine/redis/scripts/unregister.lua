-- The calling node has removed everything of itself, or of node 3, which has no lease.
local gone = ARGV[3]
if gone ~= node and redis.call('EXISTS', P .. 'n:' .. gone) == 1 then return {'ALIVE'} end
redis.call('DEL', P .. 'n:' .. gone, P .. 'i:' .. gone, P .. 'r:' .. gone, P .. 'v:' .. gone)
redis.call('HDEL', P .. 'nodes', gone)
return {'OK'}
