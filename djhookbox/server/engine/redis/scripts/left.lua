-- Return what node 3, which has no lease, has left: channels and users.
if leaseless() then return {'LEASE'} end
if redis.call('EXISTS', P .. 'n:' .. ARGV[3]) == 1 then return {'ALIVE'} end
return {'OK', redis.call('SMEMBERS', P .. 'r:' .. ARGV[3]), redis.call('SMEMBERS', P .. 'v:' .. ARGV[3])}
