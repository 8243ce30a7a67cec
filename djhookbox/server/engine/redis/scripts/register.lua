-- 3 milliseconds of the lease; 4 what is known about the node; 5 a new id for the data. Returns the
-- number of its inbox, the id of the data, which is another one if all data were lost, and the time.
redis.call('SET', P .. 'life', ARGV[5], 'NX')
redis.call('PEXPIRE', P .. 'life', 86400000)
redis.call('SET', P .. 'n:' .. node, '1', 'PX', ARGV[3])
redis.call('HSET', P .. 'nodes', node, ARGV[4])
local number = redis.call('GET', P .. 'i:' .. node)
redis.call('SET', P .. 'i:' .. node, number or '0', 'PX', ttl)
return {'OK', number or '0', redis.call('GET', P .. 'life'), redis.call('TIME')}
