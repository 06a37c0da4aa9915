-- Reads the overrides of a subject.
-- KEYS[1]  the hash: policy name -> limit
-- Reply: { time left in ms (-2: there are none), name, limit, and so on }, all of them strings
local key = KEYS[1]
local reply = { string.format('%.0f', redis.call('PTTL', key)) }
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  if fields[i] ~= '~' then
    reply[#reply + 1] = fields[i]
    reply[#reply + 1] = fields[i + 1]
  end
end
return reply
