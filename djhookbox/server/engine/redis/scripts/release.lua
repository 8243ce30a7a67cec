-- Stop reading a channel.
redis.call('HDEL', READERS, node)
redis.call('SREM', P .. 'r:' .. node, name)
return {'OK'}
