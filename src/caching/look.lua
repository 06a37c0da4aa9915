-- Reads an entry; where it is missing or no longer fresh, also takes the lease to make a new one.
-- KEYS[1]  the entry
-- KEYS[2]  its lease: <until, ms>:<token>, and '!' behind it if somebody waits; <until, ms>:- while it is
--          known that no entry will come of it
-- ARGV[1]  the caller's token; '': it wants no lease
-- ARGV[2]  how long a lease lasts, in ms
-- ARGV[3]  '1': take the lease even for a fresh entry (which an invalidation has hit)
-- Reply: { the entry or false; 0: no lease wanted, 1: the caller has it, 2: somebody else has it,
--          3: nobody shall, since nothing would be kept; now }
local entry = redis.call('GET', KEYS[1])
local token = ARGV[1]
if token == '' then return { entry, 0, now } end
if entry and ARGV[3] ~= '1' then
  local fresh = string.match(string.sub(entry, 1, 17), '^TPC1(%d+)$')
  if not fresh or tonumber(fresh) > now then return { entry, 0, now } end
end
local lease = redis.call('GET', KEYS[2])
if lease then
  local over, holder = string.match(lease, '^(%d+):([^!]*)')
  if tonumber(over) > now and holder == '-' then return { entry, 3, now } end
  if tonumber(over) > now and holder ~= token then
    if string.sub(lease, -1) ~= '!' then redis.call('SET', KEYS[2], lease .. '!', 'KEEPTTL') end
    return { entry, 2, now }
  end
end
local length = tonumber(ARGV[2])
redis.call('SET', KEYS[2], string.format('%.0f', now + length) .. ':' .. token, 'PX', length)
return { entry, 1, now }
