-- Stores an entry and releases its lease.
-- KEYS[1]  the entry
-- KEYS[2]  its lease
-- KEYS[3]  for a variant: the resource's marker, which names the fields of Vary
-- KEYS[4]  for a variant: the resource's variants by age
-- ARGV[1]  the token of the lease; '': none
-- ARGV[2]  '1': store only if the caller still has the lease
-- ARGV[3]  the entry
-- ARGV[4]  its time to live in ms
-- ARGV[5]  the channel of waiting processes, '': none; [6] the message for them
-- ARGV[7]  for a variant: the marker; [8] what KEYS[1] adds to KEYS[3]; [9] maximum number of variants
-- Reply: 1, or 0 if the lease was lost
local lease = redis.call('GET', KEYS[2])
local ours, paused = false, false
if lease then
  local over, holder = string.match(lease, '^(%d+):([^!]*)')
  paused = holder == '-'
  ours = ARGV[1] ~= '' and holder == ARGV[1] and tonumber(over) > now
end
if ARGV[2] == '1' and not ours then return 0 end
-- Without the lease, do not replace an entry that was begun later: it knows of more invalidations.
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
    -- The variants of a resource are in one slot.
    local gone = redis.call('ZPOPMIN', KEYS[4], excess)
    for i = 1, #gone, 2 do redis.call('UNLINK', KEYS[3] .. gone[i]) end
  end
end
if ours or paused then
  redis.call('UNLINK', KEYS[2])
  if string.sub(lease, -1) == '!' and ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
end
return 1
