-- Common to scripts about nodes and users.
--
-- KEYS: the prefix of all keys; the prefix and the name of the user. ARGV: the calling node,
-- milliseconds until keys expire; then what the script needs.
ttl = ARGV[2]
local USER = P .. 'u:' .. #name .. ':' .. name

local function tell(kind, head, body)
  local message = table.concat({'U', #name, kind, head}, ' ') .. '\n' .. name .. body
  for _, field in ipairs(redis.call('HKEYS', USER)) do
    local other = string.match(field, '^n(.*)$')
    if other and other ~= node then send(other, message) end
  end
end

local function nodes_of_user()
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', USER)) do
    local other = string.match(field, '^n(.*)$')
    if other and redis.call('EXISTS', P .. 'n:' .. other) == 1 then found[#found + 1] = other end
  end
  return found
end

local function watched() return redis.call('ZSCORE', P .. 'watched', name) and '1' or '0' end
