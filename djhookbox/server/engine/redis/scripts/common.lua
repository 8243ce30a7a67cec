-- Common to all scripts.
--
-- KEYS: the prefix of all keys; the prefix and the name of the channel or of the user, so that users
-- of Redis who may only use keys with the prefix may run the scripts. ARGV: the calling node;
-- then what the other preludes say.
local P, node = KEYS[1], ARGV[1]
local name = string.sub(KEYS[2], #P + 1)
local ttl -- milliseconds until keys expire, set by the other preludes

local function text(number) return string.format('%.0f', number) end

local function leaseless() return redis.call('EXISTS', P .. 'n:' .. node) == 0 end

local function send(reader, message)
  local inbox = P .. 'i:' .. reader
  local number = redis.call('INCR', inbox)
  if number == 1 then redis.call('PEXPIRE', inbox, ttl) end
  redis.call('PUBLISH', inbox, text(number) .. ' ' .. message)
end

