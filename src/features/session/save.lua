-- Stores a session: a new one, or the next version of one that is there. An update never creates.
-- KEYS[1]  the session
-- KEYS[2]  its user's index: sessions by their expiry (a user's sessions only)
-- KEYS[3]  not-before: '<ms>[ <member>]': sessions of the user created by then are dead, but for that member
-- ARGV[1]  '' to create, or the version that the update is based on
-- ARGV[2]  time to live, ms
-- ARGV[3]  absolute time to live of a new session, ms, 0: none
-- ARGV[4]  the first two characters of the header: see record.ts
-- ARGV[5]  the payload
-- ARGV[6]  the session's member in the index
-- ARGV[7]  how many sessions the user may have, 0: any number
-- ARGV[8]  'evict' the ones that would end first, or 'deny' the new one
-- ARGV[9]  '' or the created and absolute expiry (26 digits) of the session that this one replaces
-- Reply: {'saved', version, created, until, now}, {'gone'}, {'conflict', blob}, {'full'}
local base, ttl, kind, member = ARGV[1], tonumber(ARGV[2]), ARGV[4], ARGV[6]
local owned = string.sub(kind, 2, 2) == 'u'
local header = redis.call('GETRANGE', KEYS[1], 0, 46)
local barred, exempt = -1, ''
if owned then
  local bar = redis.call('GET', KEYS[3]) or ''
  local at, who = string.match(bar, '^(%d+) ?(.*)$')
  if at then barred, exempt = tonumber(at), who end
end
local version, created, until_

if base == '' then
  version = '000001'
  if ARGV[9] ~= '' then
    created, until_ = tonumber(string.sub(ARGV[9], 1, 13)), tonumber(string.sub(ARGV[9], 14))
    if created <= barred then return { 'gone' } end
  else
    created = math.max(now, barred + 1)
    local absolute = tonumber(ARGV[3])
    until_ = absolute > 0 and created + absolute or 0
  end
else
  if not string.match(header, '^[JE][u-]' .. string.rep('%d', 45) .. '$') then return { 'gone' } end
  created, until_ = tonumber(string.sub(header, 9, 21)), tonumber(string.sub(header, 22, 34))
  if owned and created <= barred and exempt ~= member then
    redis.call('UNLINK', KEYS[1])
    redis.call('ZREM', KEYS[2], member)
    return { 'gone' }
  end
  if string.sub(header, 3, 8) ~= base then return { 'conflict', redis.call('GET', KEYS[1]) } end
  version = string.format('%06d', (tonumber(base) + 1) % 1000000)
end

local life = ttl
if until_ > 0 then life = math.min(life, until_ - now) end
if life <= 0 then
  redis.call('UNLINK', KEYS[1])
  redis.call('ZREM', KEYS[2], member)
  return { 'gone' }
end

if owned then
  local most = tonumber(ARGV[7])
  if base == '' and most > 0 then
    local count = redis.call('ZCOUNT', KEYS[2], '(' .. string.format('%.0f', now), '+inf')
    if count >= most then
      if ARGV[8] == 'deny' then return { 'full' } end
      -- They live in this slot: they have this user's tag.
      local folder = string.sub(KEYS[1], 1, -#member - 1)
      local first = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf', 'LIMIT', 0, count - most + 1)
      for _, each in ipairs(first) do
        redis.call('UNLINK', folder .. each)
        redis.call('ZREM', KEYS[2], each)
      end
    end
  end
  local dead = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
  if #dead > 0 then redis.call('ZREM', KEYS[2], unpack(dead)) end
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + life), member)
  if redis.call('PTTL', KEYS[2]) < life then redis.call('PEXPIRE', KEYS[2], string.format('%.0f', life)) end
end
local times = string.format('%013.0f%013.0f%013.0f', created, until_, now)
redis.call('SET', KEYS[1], kind .. version .. times .. ARGV[5], 'PX', string.format('%.0f', life))
return { 'saved', version, created, until_, now }
