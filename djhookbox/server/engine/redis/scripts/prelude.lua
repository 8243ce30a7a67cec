-- Common to all scripts that change a channel.
--
-- KEYS: the prefix of all keys; the prefix and the name of the channel.
-- ARGV: the calling node, the run_id of Redis that it knows, the id of the channel's opening,
-- the bucket of the operation key (empty for a key given by code), the operation key (empty for
-- none), milliseconds until keys expire, the time; then what the script needs.
local run, id, bucket, op, at = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7]
ttl = ARGV[6]
-- Lengths keep names of any bytes from running into each other.
local base = P .. 'c:' .. #name .. ':' .. name
local META, READERS, PRESENCE = base .. ':m', base .. ':r', base .. ':p'
local STATE, HISTORY, STREAM, LOG = base .. ':s', base .. ':h', base .. ':o', base .. ':l'
local POLLER = base .. ':q'
-- How long results are remembered, by operation key and by a key given by code.
local REMEMBER_OP, REMEMBER_KEY = 70000, 300000

local function recall()
  if op == '' then return false end
  if bucket ~= '' then return redis.call('HGET', P .. 'o:' .. node .. ':' .. bucket, op) end
  return redis.call('GET', P .. 'k:' .. op)
end

local function answer(...)
  local result = table.concat({...}, ';')
  if op ~= '' then
    if bucket ~= '' then
      local key = P .. 'o:' .. node .. ':' .. bucket
      if redis.call('HSET', key, op, result) == 1 then redis.call('PEXPIRE', key, REMEMBER_OP) end
    else
      redis.call('SET', P .. 'k:' .. op, result, 'PX', REMEMBER_KEY)
    end
  end
  return {'OK', result}
end

local keeps, remembers -- how many entries the history has, and whether also who came and went

local function refuse()
  if leaseless() then return {'LEASE'} end
  local before = recall()
  if before then return {'AGAIN', before} end
  local meta = redis.call('HMGET', META, 'id', 'run', 'keeps', 'remembers')
  if meta[1] ~= id or meta[2] ~= run then return {'GONE'} end
  keeps, remembers = tonumber(meta[3]), meta[4] == '1'
  return nil
end

local function advance() return text(redis.call('HINCRBY', META, 'version', 1)) end

-- Send a change to all other readers; return the number of their connections.
local function tell(version, kind, head, body)
  local message
  local connections = 0
  local readers = redis.call('HGETALL', READERS)
  for i = 1, #readers, 2 do
    if readers[i] ~= node then
      message = message or table.concat({
        'C', #name, id, version, kind, head}, ' ') .. '\n' .. name .. body
      send(readers[i], message)
      connections = connections + tonumber(readers[i + 1])
    end
  end
  return text(connections)
end

local function remember(entry)
  if keeps <= 0 then return end
  if redis.call('RPUSH', HISTORY, entry) == 1 then redis.call('PEXPIRE', HISTORY, ttl) end
  redis.call('LTRIM', HISTORY, -keeps, -1)
end

-- Drop publications that neither the history nor clients that may return need, or that are too
-- large together.
local function trim(now)
  local s = redis.call('HMGET', STREAM, 'size', 'duration', 'until', 'bytes', 'most', 'recovery',
    'awaited')
  local count, size, duration = redis.call('LLEN', LOG), tonumber(s[1] or 0), tonumber(s[2] or 0)
  local till, bytes, most = tonumber(s[3] or ''), tonumber(s[4] or 0), tonumber(s[5] or 0)
  local recovery, awaited = tonumber(s[6] or 0), tonumber(s[7] or 0)
  local lingers = not till or now < till
  local recent = now
  if recovery > 0 and (lingers or now < awaited) then recent = now - recovery end
  while count > 0 do
    local entry = redis.call('LINDEX', LOG, 0)
    if bytes <= most then
      local made = tonumber(string.match(entry, '^[^;]*'))
      local expired = not lingers
      if duration > 0 then expired = made < now - duration end
      if not expired and count <= size then break end
      if recovery > 0 and made >= recent then break end
    end
    redis.call('LPOP', LOG)
    bytes = redis.call('HINCRBY', STREAM, 'bytes', -#entry)
    count = count - 1
  end
end

local function drop_stream() redis.call('DEL', STREAM, LOG) end

-- Whether a channel that is not open has a stream that is over.
local function is_over(now)
  local s = redis.call('HMGET', STREAM, 'brief', 'awaited', 'run')
  return s[3] ~= run or (s[1] == '1' and now >= tonumber(s[2] or 0))
end

local function begin_stream(epoch)
  drop_stream()
  redis.call('HSET', STREAM, 'epoch', epoch, 'offset', 0, 'bytes', 0, 'run', run)
end

-- Members are stored as order;since;shared;by_code;nodes.
local function member(value)
  local order, since, shared, code, nodes =
    string.match(value, '^([^;]*);([^;]*);([^;]*);([^;]*);(.*)$')
  return {order = order, since = since, shared = shared, code = code, nodes = nodes}
end

local function store_member(user, m)
  local value = table.concat({m.order, m.since, m.shared, m.code, m.nodes}, ';')
  redis.call('HSET', PRESENCE, user, value)
end

local function remove_node(nodes, gone)
  local rest = {}
  for each in string.gmatch(nodes, '[^,]+') do
    if each ~= gone then rest[#rest + 1] = each end
  end
  return table.concat(rest, ',')
end

local function includes(nodes, wanted)
  return string.find(',' .. nodes .. ',', ',' .. wanted .. ',', 1, true) ~= nil
end

local function touch(...)
  for _, key in ipairs({...}) do redis.call('PEXPIRE', key, ttl) end
end
