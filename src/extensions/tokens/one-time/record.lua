-- Stands in front of the scripts of one-time tokens.
-- A record is a string:
--   43  digest of the token, or as many '-' where there is none
--    2  wrong tokens that are still allowed
--    6  wrong tokens since the last right one
--   13  when another token may be issued, ms since the epoch
--   13  when the token ends, ms since the epoch
--    *  payload
-- Commands are the same for a wrong token and for one that was never issued. Their duration does not differ.
local NONE = string.rep('-', 43)
-- Failures count for a day.
local MEMORY = 86400000

local function parse(text)
  if not text or not string.match(string.sub(text, 44, 77), '^' .. string.rep('%d', 34)) then return nil end
  local function number(first, last) return tonumber(string.sub(text, first, last)) end
  return {
    token = string.sub(text, 1, 43), left = number(44, 45), failures = number(46, 51),
    pause = number(52, 64), ends = number(65, 77), payload = string.sub(text, 78)
  }
end

local function format(record)
  local numbers = string.format('%02.0f%06.0f%013.0f%013.0f', record.left, record.failures, record.pause, record.ends)
  return record.token .. numbers .. record.payload
end

local function isLive(record) return record.token ~= NONE and record.ends > now end

local function void(record) record.token, record.ends, record.payload = NONE, 0, '' end

-- How long the record matters, ms.
local function lifeOf(record)
  return math.max(record.pause - now, record.ends - now, record.failures > 0 and MEMORY or 1)
end

-- How long to wait for another token, ms: doubled whenever another `attempts` of them were wrong.
local function pauseAfter(failures, attempts, cooldown, longest)
  local rounds = attempts > 0 and math.floor(failures / attempts) or 0
  if rounds < 2 then return cooldown end
  return math.min(math.max(cooldown, 1000) * 2 ^ (rounds - 1), longest)
end
