-- Reads an entry. If it is missing, not fresh or invalid, also takes the lease to fill it.
-- KEYS[1]  the entry
-- KEYS[2]  its lease: <until, ms>:<token>, followed by '!' if another process waits for it. <until, ms>:-
--          pauses fills: the last response could not be stored
-- KEYS[3]  the invalidation log, where one script may reach it too: the only key of another slot
-- ARGV[1]  the caller's token; '': it does not want the lease
-- ARGV[2]  how long a lease lasts, in ms
-- ARGV[3]  the start of the metadata of an entry that the caller knows to be invalid; '': none
-- ARGV     then, with KEYS[3], fields of the log: nonce, sequence, everything, patterns, tags
-- Reply: { the entry, a number if it is large, or false; 0: no lease wanted, 1: the caller has it,
--          2: another caller has it, 3: fills are paused; now; the values of the fields }
local entry = redis.call('GETRANGE', KEYS[1], 0, 65536)
if entry == '' then entry = false end
-- A large entry must not pass through Lua: it would hold up all other commands.
local found = entry
if entry and #entry > 65536 then found = #entry end
local token = ARGV[1]
local fields = {}
if KEYS[3] then fields = redis.call('HMGET', KEYS[3], unpack(ARGV, 4, #ARGV - 1)) end
if token == '' then return { found, 0, now, fields } end

local function isInvalid()
  local head = string.sub(entry, 22, 121)
  if ARGV[3] ~= '' and string.sub(head, 1, #ARGV[3]) == ARGV[3] then return true end
  local nonce, sequence = string.match(head, '^%["([^"]*)",(%d+),')
  if not nonce or not KEYS[3] then return false end
  sequence = tonumber(sequence)
  if nonce ~= fields[1] or sequence > tonumber(fields[2]) then return true end
  for i = 3, #fields do
    -- The caller matches the patterns: it knows the entry's name.
    if i ~= 4 and fields[i] then
      local hard, soft = string.match(fields[i], '^(%d+),?(%d*)$')
      if tonumber(hard) > sequence or (tonumber(soft) or 0) > sequence then return true end
    end
  end
  return false
end

if entry then
  local fresh = string.match(string.sub(entry, 1, 17), '^TPC1(%d+)$')
  if not fresh or (tonumber(fresh) > now and not isInvalid()) then return { found, 0, now, fields } end
end
local lease = redis.call('GET', KEYS[2])
if lease then
  local over, holder = string.match(lease, '^(%d+):([^!]*)')
  if tonumber(over) > now and holder == '-' then return { found, 3, now, fields } end
  if tonumber(over) > now and holder ~= token then
    if string.sub(lease, -1) ~= '!' then redis.call('SET', KEYS[2], lease .. '!', 'KEEPTTL') end
    return { found, 2, now, fields }
  end
end
local length = tonumber(ARGV[2])
redis.call('SET', KEYS[2], string.format('%.0f', now + length) .. ':' .. token, 'PX', length)
return { found, 1, now, fields }
