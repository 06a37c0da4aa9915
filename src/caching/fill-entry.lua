-- Stores an entry and gives its lease back.
-- KEYS[1]  the entry
-- KEYS[2]  its lease
-- KEYS[3]  for a variant: the resource's own entry, which says what it varies by
-- KEYS[4]  for a variant: the resource's variants by age
-- ARGV[1]  the token of the lease; '': none
-- ARGV[2]  '1': store only if the lease is still the caller's
-- ARGV[3]  the entry
-- ARGV[4]  its life in ms
-- ARGV[5]  channel for those who wait, '': none; and [6] what they are told
-- ARGV[7]  for a variant: what stands at KEYS[3]; [8] the end of KEYS[1] after KEYS[3]; [9] how many there may be
-- Reply: 1, or 0 if the lease was lost
local lease = redis.call('GET', KEYS[2])
local ours, vain = false, false
if lease then
  local over, holder = string.match(lease, '^(%d+):([^!]*)')
  vain = holder == '-'
  ours = ARGV[1] ~= '' and holder == ARGV[1] and tonumber(over) > now
end
if ARGV[2] == '1' and not ours then return 0 end
-- Who has no lease does not replace what was begun later, which knows of more invalidations.
local older = false
local fresh, nonce, sequence = string.match(redis.call('GETRANGE', KEYS[1], 0, 120), '^TPC1(%d%d%d%d%d%d%d%d%d%d%d%d%d)....%["([^"]*)",(%d+),')
if not ours and fresh and tonumber(fresh) > now then
  local ours, begun = string.match(string.sub(ARGV[3], 22, 121), '^%["([^"]*)",(%d+),')
  older = ours == nonce and tonumber(sequence) > tonumber(begun)
end
if not older then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
if KEYS[3] and not older then
  local life = math.max(tonumber(ARGV[4]), redis.call('PTTL', KEYS[3]))
  redis.call('SET', KEYS[3], ARGV[7], 'PX', life)
  redis.call('ZADD', KEYS[4], now, ARGV[8])
  redis.call('PEXPIRE', KEYS[4], life)
  local excess = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[9])
  if excess > 0 then
    -- Variants stand beside their resource: in the same slot.
    local gone = redis.call('ZPOPMIN', KEYS[4], excess)
    for i = 1, #gone, 2 do redis.call('UNLINK', KEYS[3] .. gone[i]) end
  end
end
if ours or vain then
  redis.call('UNLINK', KEYS[2])
  if string.sub(lease, -1) == '!' and ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
end
return 1
