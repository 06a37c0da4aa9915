-- Compares a token with the issued one. The right one is used up, a wrong one counts.
-- KEYS[1]  the record, see record.lua
-- ARGV[1]  '1': the right one stays, and may be used later
-- ARGV[2]  wrong tokens until the issued one is void; 0: any number
-- ARGV[3]  pause until another one may be issued, ms
-- ARGV[4]  longest pause, ms
-- ARGV[5]  digest of the token; more of them where it may have been made with an older secret
-- Reply: { 1, ms that it had left, payload }; { 0, 0 }: wrong; { 0, 1 }: wrong, and the issued one is void now
local text = redis.call('GET', KEYS[1])
local record = parse(text)
local reply, after, life = { 0, 0 }, text or '', MEMORY
if record then
  if isLive(record) then
    local isRight = false
    for i = 5, #ARGV - 1 do isRight = isRight or ARGV[i] == record.token end
    local attempts = tonumber(ARGV[2])
    if isRight then
      reply = { 1, record.ends - now, record.payload }
      record.failures = 0
      if ARGV[1] ~= '1' then void(record) end
    elseif attempts > 0 then
      record.left, record.failures = record.left - 1, math.min(record.failures + 1, 999999)
      if record.left <= 0 then
        void(record)
        record.pause = math.max(record.pause, now + pauseAfter(record.failures, attempts, tonumber(ARGV[3]), tonumber(ARGV[4])))
        record.left = 0
        reply = { 0, 1 }
      end
    end
  end
  after, life = format(record), lifeOf(record)
end
redis.call('SET', KEYS[1], after, 'XX')
keep(KEYS[1], life)
return reply
