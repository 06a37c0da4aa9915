-- Changes a progress and publishes its state. After its end only 'start' changes it.
-- KEYS[1]  hash: the progress
-- KEYS[2]  stream: the history of its topic
-- ARGV[1]  change: 'start', 'step', 'set', 'done' or 'failed'
-- ARGV[2]  number of steps; 0: as before
-- ARGV[3]  name of the step, JSON; '': as before
-- ARGV[4]  for 'set': percent, in hundredths
-- ARGV[5]  cost that is added, in millionths
-- ARGV[6]  why it failed, JSON
-- ARGV[7]  time to live after this change, ms
-- ARGV[8]  most messages of the history, ARGV[9] its time to live in ms, ARGV[10] channel,
-- ARGV[11] sequence number of the first message of a millisecond
-- Reply: the state, JSON
local change = ARGV[1]
local fields = {}
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do fields[known[i]] = known[i + 1] end
if change == 'start' then
  fields = {}
  redis.call('DEL', KEYS[1])
elseif fields.finished then
  return fields.view or ''
end
local function number(name) return tonumber(fields[name] or '0') or 0 end

local total = tonumber(ARGV[2])
if total == 0 then total = number('total') end
local steps, share, started = number('steps'), number('share'), number('started')
-- Beyond 2^53 additions would be lost.
local cost = math.min(number('cost') + tonumber(ARGV[5]), 9e15)
local step = ARGV[3] ~= '' and ARGV[3] or fields.step or 'null'
if started == 0 then started = now end
if change == 'step' then
  steps = steps + 1
  if total > 0 then
    steps = math.min(steps, total)
    share = math.floor(steps * 10000 / total)
  end
elseif change == 'set' then
  share = tonumber(ARGV[4])
elseif change == 'done' then
  if total > 0 then steps = total end
  share = 10000
end

local hasFinished = change == 'done' or change == 'failed'
local status = hasFinished and change or 'running'
local eta = 'null'
if not hasFinished and share > 0 and now > started then
  eta = whole(math.floor((now - started) * (10000 - share) / share))
end
local view = '{"status":"' .. status
  .. '","percent":' .. string.format('%d.%02d', math.floor(share / 100), share % 100)
  .. ',"steps":' .. whole(steps)
  .. ',"total":' .. (total > 0 and whole(total) or 'null')
  .. ',"step":' .. step
  .. ',"cost":' .. string.format('%d.%06d', math.floor(cost / 1e6), cost % 1e6)
  .. ',"etaMs":' .. eta
  .. ',"reason":' .. ARGV[6]
  .. ',"startedAt":' .. whole(started)
  .. ',"updatedAt":' .. whole(now)
  .. ',"finishedAt":' .. (hasFinished and whole(now) or 'null') .. '}'
redis.call('HSET', KEYS[1], 'total', whole(total), 'steps', whole(steps), 'share', whole(share),
  'cost', whole(cost), 'started', whole(started), 'step', step, 'view', view)
if hasFinished then redis.call('HSET', KEYS[1], 'finished', '1') end
keep(KEYS[1], tonumber(ARGV[7]))
append(KEYS[2], view, ARGV[8], ARGV[9], ARGV[10], ARGV[11])
return view
