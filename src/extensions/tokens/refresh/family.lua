-- Stands in front of the scripts of refresh tokens.
-- A family is the tokens that follow each other since one login. A hash holds all families of a user, by handle, as strings:
--    1  '1', or '0': one of its tokens was used again, so that it is dead
--   13  begin, ms since the epoch
--   13  absolute end
--   13  end, unless another token is issued
--   13  last use
--   43  digest of the token that may be used
--    1  how many earlier tokens are remembered, the latest first; each as
--         43  its digest
--         22  salt by which its successor was made
--         13  when it was used
--    *  the user, a line feed, data
local HEADER, EARLIER, MOST = 97, 78, 8

local function parse(text)
  if not text or not string.match(string.sub(text, 1, 53), '^[01]' .. string.rep('%d', 52) .. '$') then return nil end
  local function number(first, last) return tonumber(string.sub(text, first, last)) end
  local count = number(97, 97)
  if not count or #text < HEADER + count * EARLIER then return nil end
  local family = {
    isAlive = string.sub(text, 1, 1) == '1', began = number(2, 14), last = number(15, 27), ends = number(28, 40),
    used = number(41, 53), token = string.sub(text, 54, 96), earlier = {}
  }
  for i = 1, count do
    local from = HEADER + (i - 1) * EARLIER
    family.earlier[i] = {
      token = string.sub(text, from + 1, from + 43), salt = string.sub(text, from + 44, from + 65),
      used = number(from + 66, from + 78) or 0
    }
  end
  family.user, family.data = string.match(string.sub(text, HEADER + count * EARLIER + 1), '^([^\n]*)\n(.*)$')
  return family.user and family or nil
end

local function format(family)
  local text = (family.isAlive and '1' or '0')
    .. string.format('%013.0f%013.0f%013.0f%013.0f', family.began, family.last, family.ends, family.used)
    .. family.token .. #family.earlier
  for _, each in ipairs(family.earlier) do text = text .. each.token .. each.salt .. string.format('%013.0f', each.used) end
  return text .. family.user .. '\n' .. family.data
end

local function store(key, handle, family)
  redis.call('HSET', key, handle, format(family))
  local life = math.max(1, family.ends - now)
  if redis.call('PTTL', key) < life then keep(key, life) end
end

-- The family, if it has not ended.
local function find(key, handle)
  local family = parse(redis.call('HGET', key, handle))
  if family and family.ends > now then return family end
  return nil
end
