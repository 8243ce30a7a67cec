-- 8 connections here. Also renews the keys.
if leaseless() then return {'LEASE'} end
if redis.call('HEXISTS', READERS, node) == 0 then return {'GONE'} end
redis.call('HSET', READERS, node, ARGV[8])
touch(META, READERS, PRESENCE, STATE, HISTORY, STREAM, LOG, P .. 'r:' .. node)
return {'OK'}
