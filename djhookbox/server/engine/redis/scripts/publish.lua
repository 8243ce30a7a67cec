-- 8 number of the operation; 9 the publication; 10 whether only the poller may publish this.
local refused = refuse()
if refused then return refused end
if ARGV[10] == '1' and redis.call('GET', POLLER) ~= node then return {'VOID'} end
local version = advance()
local s = redis.call('HMGET', STREAM, 'epoch', 'duration', 'size', 'most')
local offset = '0'
if s[1] then
  offset = text(redis.call('HINCRBY', STREAM, 'offset', 1))
  local entry = at .. ';' .. ARGV[9]
  local count = redis.call('RPUSH', LOG, entry)
  if count == 1 then redis.call('PEXPIRE', LOG, ttl) end
  local bytes = redis.call('HINCRBY', STREAM, 'bytes', #entry)
  if count > tonumber(s[3]) or bytes > tonumber(s[4]) or s[2] ~= '0' then trim(tonumber(at)) end
  remember('P;' .. offset)
end
local connections = tell(version, 'P', at .. ' ' .. offset, ARGV[9])
return answer(version, offset, connections, node .. '.' .. ARGV[8], s[1] or '')
