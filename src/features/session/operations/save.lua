-- Stores a session: a new one, or the next version of an existing one. An update never creates a session.
-- KEYS[1]  the session
-- KEYS[2]  its user's index: sessions by expiry (used only if the session has a user)
-- KEYS[3]  revoke-before: '<ms>[ <digest>]'. The user's sessions created by then are revoked, except that digest
-- ARGV[1]  '' to create, or the version that the update is based on
-- ARGV[2]  time to live, ms
-- ARGV[3]  absolute time to live of a new session, ms, 0: none
-- ARGV[4]  the first two characters of the header: see record.ts
-- ARGV[5]  the payload
-- ARGV[6]  the session's digest: its member in the index
-- ARGV[7]  most sessions of one user, 0: unlimited
-- ARGV[8]  'evict' the sessions that expire first, or 'deny' the new one
-- ARGV[9]  '' or the created and absolute expiry (26 digits) of the session that continues as this one
-- ARGV[10] '' or the digest of a session of the same user and tag that this one replaces
-- ARGV[11] channel of changed sessions
-- Reply: {'saved', version, created, absolute expiry, now}, {'gone'}, {'conflict', stored text}, {'full'}
local base, ttl, kind, digest = ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[6]
local owned = string.sub(kind, 2, 2) == 'u'
local header = redis.call('GETRANGE', KEYS[1], 0, 46)
local revoked, exempt = -1, ''
if owned then
  local at, who = string.match(redis.call('GET', KEYS[3]) or '', '^(%d+) ?(.*)$')
  if at then revoked, exempt = tonumber(at), who end
end
local version, created, ends_at
-- A save is done, whether that may be published or not.
local function publish(key) redis.pcall('PUBLISH', ARGV[11], string.match(key, '{[^{}]*}[^{}]*$')) end
if header ~= '' then publish(KEYS[1]) end

if base == '' then
  version = '000001'
  if ARGV[9] ~= '' then
    created, ends_at = tonumber(string.sub(ARGV[9], 1, 13)), tonumber(string.sub(ARGV[9], 14))
    if created <= revoked then return { 'gone' } end
  else
    created = math.max(now, revoked + 1)
    local absolute = tonumber(ARGV[3])
    ends_at = absolute > 0 and created + absolute or 0
  end
else
  if not string.match(header, '^[JE][u-]' .. string.rep('%d', 45) .. '$') then return { 'gone' } end
  created, ends_at = tonumber(string.sub(header, 9, 21)), tonumber(string.sub(header, 22, 34))
  if owned and created <= revoked and exempt ~= digest then
    redis.call('UNLINK', KEYS[1])
    redis.call('ZREM', KEYS[2], digest)
    return { 'gone' }
  end
  if string.sub(header, 3, 8) ~= base then return { 'conflict', redis.call('GET', KEYS[1]) } end
  version = string.format('%06d', (tonumber(base) + 1) % 1000000)
end

local life = ttl
if ends_at > 0 then life = math.min(life, ends_at - now) end
if life <= 0 then
  redis.call('UNLINK', KEYS[1])
  redis.call('ZREM', KEYS[2], digest)
  return { 'gone' }
end

if owned then
  local limit, replaced = tonumber(ARGV[7]), ARGV[10]
  -- The sessions in the index have this user's tag. Otherwise their keys would be in other slots.
  local prefix = string.sub(KEYS[1], 1, -#digest - 1)
  if base == '' and limit > 0 then
    local after = '(' .. string.format('%.0f', now)
    local count = redis.call('ZCOUNT', KEYS[2], after, '+inf')
    local expiry = replaced ~= '' and tonumber(redis.call('ZSCORE', KEYS[2], replaced) or '0') or 0
    if expiry > now then count = count - 1 end
    if count >= limit then
      if ARGV[8] == 'deny' then return { 'full' } end
      -- One more than needed, in case that one of them is the replaced session.
      local first = redis.call('ZRANGEBYSCORE', KEYS[2], after, '+inf', 'LIMIT', 0, count - limit + 2)
      local excess = count - limit + 1
      for _, each in ipairs(first) do
        if excess > 0 and each ~= replaced then
          excess = excess - 1
          redis.call('UNLINK', prefix .. each)
          redis.call('ZREM', KEYS[2], each)
          publish(prefix .. each)
        end
      end
    end
  end
  if replaced ~= '' then
    redis.call('UNLINK', prefix .. replaced)
    redis.call('ZREM', KEYS[2], replaced)
    publish(prefix .. replaced)
  end
  local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
  if #expired > 0 then redis.call('ZREM', KEYS[2], unpack(expired)) end
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + life), digest)
  if redis.call('PTTL', KEYS[2]) < life then redis.call('PEXPIRE', KEYS[2], string.format('%.0f', life)) end
end
local times = string.format('%013.0f%013.0f%013.0f', created, ends_at, now)
redis.call('SET', KEYS[1], kind .. version .. times .. ARGV[5], 'PX', string.format('%.0f', life))
return { 'saved', version, created, ends_at, now }
