-- 3 a score; 4… users whose presence is shown in the state of a channel.
for i = 4, #ARGV do redis.call('ZADD', P .. 'watched', ARGV[3], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', P .. 'watched', '-inf', tonumber(ARGV[3]) - tonumber(ttl) / 1000)
redis.call('PEXPIRE', P .. 'watched', ttl)
return {'OK'}
