-- Several policies of one subject, decided and charged in one step: all or none. In front of this stand
--   the head: what is asked, as `verb`, `n`, `at` and `policy(i)`, read from ARGV (take-head.lua) or, where it
--             is the same for every request, written out (take.ts)
--   take-read.lua, which reads the states
--   take-log.lua, and take-look.lua, which looks at every policy and decides; here it is carried out
--
-- KEYS[1..n]   one state per policy
-- KEYS[n+1..]  optional: hashes of subjects' own limits, policy name -> limit. Their field '~', in ms,
--              is the time to live that the hash gets again when less than half of it is left
-- verb         'c' consume | 'd' consume, and charge a refusal too | 'p' peek | 'f' charge beyond the limit
--              'r' refund | 'b' block the subject, in policy 1, for `cost` ms
-- at           'r': when, in ms, the charge was made; 0: unknown
-- policy(i) gives nine values:
--   algorithm  's' sliding window | 'f' fixed window | 'g' GCRA
--   name, limit, window (ms)
--   aux        's' runs at most | 'f' start (ms) of the calendar period, '' for windows aligned to the epoch | 'g' burst
--   cost       whole units
--   block      ms that a refusal blocks for, doubled by each repetition, 0 = none; and the longest such block
--   own        which hash of own limits counts, from 1; 0 = none
--
-- Reply: numbers of 8 bytes (IEEE 754, the least byte first): 1 allowed | 0 refused, now, then 5 per policy: limit, remaining, reset (ms), retry (ms), violated
--   reset      's' until the oldest use counted leaves | 'f' until the period ends | 'g' until one more unit is free
--   retry      0 at once | -1 never | ms until the same cost is admitted
--   violated   0 no | 1 over the limit | 2 blocked
-- or -1, now and no effect: a calendar period does not contain `now`.
--
-- State: one string. Header: when the key expires, 1 if a block follows (blocked until, strikes, length of the last
--   block) or 0; then
--   's' total, last run (last time, count), first run, and the others in a ring: where it begins, how many there are,
--       how many have room, runs. A log in which uses of the same cell of time share a run. A cell is 1 ms while no
--       more runs than `aux` are needed, else window / aux: a use may count for that much longer, never shorter
--   'f' end of the period, count
--   'g' time, level, end, window, and the level's low-water marks. A level is in unit * ms: it drains by `limit` a ms,
--       a unit raises it by `window`. Whole numbers, so nothing is lost to rounding
-- A key of 's' or 'g' outlives what it counts by up to an eighth: to set a time to live costs as much as to write the
-- state, so one is set for several charges.
local refusedCharge = verb == 'd' and allowed == 0
local told = pack('<dd', allowed, now)
for i = 1, n do
  local k = i * 13 - 13
  local algorithm, _, _, window, aux, cost, first, longest = policy(i)
  local limit, value, ends, strikes, length = seen[k + 1], seen[k + 2], seen[k + 3], seen[k + 4], seen[k + 5]
  local clock, x, y, z, violated = seen[k + 6], seen[k + 7], seen[k + 8], seen[k + 9], seen[k + 10]
  local last, count, expires = seen[k + 11], seen[k + 12], seen[k + 13]
  local remaining, reset, retry = 0, 0, 0
  local asks = judged and cost > 0 and (violated > 0 or refusedCharge)
  local changed, rest, life = false, '', 0 -- life: until when the charges count
  local units = 0
  if verb == 'f' or (verb == 'c' or verb == 'd') and allowed == 1 then units = cost end

  if algorithm == 's' then
    if refusedCharge and cost <= limit then units = cost end
    units = min(units, MOST - y)
    local log, pos = value, x
    if units > 0 then
      local size = #value
      local cell = 1
      if limit > aux or size - x >= aux * 11 then cell = floor(window / aux) + 1 end
      if y > 0 and floor(last / cell) == floor(clock / cell) then
        log = sub(value, x, -12) .. pack('>I6I5', clock, count + units)
      else
        log = sub(value, x) .. pack('>I6I5', clock, units)
        if #log > (aux + 1) * 11 then
          log = compacted(log, floor(window / aux) + 1)
          z = read('>I6', log)
        end
      end
      if #log == 11 then z = clock end
      y, last = y + units, clock
      pos, changed = 1, true
    elseif verb == 'r' and cost > 0 and y > 0 then
      -- Only from the run that holds `at`: a later one would stop counting a use too early.
      local cell = floor(window / aux) + 1
      local left, from, size = cost, x, #value
      log = ''
      while from < size and left > 0 do
        local time, count = read('>I6I5', value, from)
        if time >= at then
          if at > 0 and floor(time / cell) ~= floor(at / cell) then break end
          local taken = min(left, count)
          left = left - taken
          y = y - taken
          changed = true
          if count > taken then log = log .. pack('>I6I5', time, count - taken) end
          if at > 0 then left = 0 end
        else
          log = log .. sub(value, from, from + 10)
        end
        from = from + 11
      end
      if changed then
        log, pos = log .. sub(value, from), 1
        if y > 0 then z, last = read('>I6', log), read('>I6', log, #log - 10) end
      else
        log = value
      end
    end
    remaining = max(0, limit - y)
    reset = window
    if y > 0 then reset = z + window - now end
    if asks and y + cost > limit then
      retry = -1
      if cost <= limit then retry = departure(log, pos, y + cost - limit, window) end
    end
    if changed or violated == 1 or verb == 'b' then
      if y > 0 then
        life = last + window
        rest = pack('>I5', y) .. kept(log, pos, aux - 1)
      else
        rest = NOTHING
      end
    end
  elseif algorithm == 'f' then
    if refusedCharge and cost <= limit then units = cost end
    units = min(units, MOST - y)
    if verb == 'r' and (at == 0 or at >= x - window and at < x) then units = -min(cost, y) end
    if units ~= 0 then
      y = y + units
      changed = true
    end
    remaining = max(0, limit - y)
    reset = x - now
    if asks and y + cost > limit then
      retry = -1
      if cost <= limit then retry = reset end
    end
    if changed or violated == 1 or verb == 'b' then
      if y > 0 then life = x end
      rest = pack('>I6I6', x, y)
    end
  else
    local capacity = aux * window
    local mark, stop = clock, clock
    if value ~= '' then stop, mark = read('>I6xxxxxxI6', value, 15) end
    if refusedCharge and limit > 0 and cost <= aux then units = cost end
    if units > 0 then
      if clock - mark >= window or clock < mark then
        z = 0
        if clock >= mark and clock - mark < 2 * window then z = y end
        mark, y = clock, x
      end
      -- A refused charge fills the level, no more: the wait must not grow with every attempt.
      local top = MOST * window
      if refusedCharge then top = max(x, capacity) end
      x = min(x + units * window, top)
      changed = true
    elseif verb == 'r' and cost > 0 and x > 0 then
      -- With `at`, only what surely has not drained since: that much of it, or as much as the level always held.
      local back = cost * window
      if at > 0 then
        local held = 0
        if at >= mark then held = y elseif at >= mark - window then held = min(y, z) end
        back = max(back - max(0, clock - at) * limit, min(back, held))
      end
      back = min(back, x)
      if back > 0 then
        x, y, z = x - back, max(0, y - back), max(0, z - back)
        changed = true
      end
    end
    if changed then
      local drained = window
      if limit > 0 then drained = ceil(x / limit) end
      stop = clock + min(drained, LONGEST)
    end
    if limit == 0 then
      reset = window
      if asks then retry = -1 end
    else
      remaining = max(0, floor((capacity - x) / window))
      if remaining < aux then
        reset = max(0, min(ceil((x - (aux - remaining - 1) * window) / limit) + clock, stop) - now)
      end
      if asks and x + cost * window > capacity then
        retry = -1
        if cost <= aux then retry = min(ceil((x + cost * window - capacity) / limit) + clock, stop) - now end
      end
    end
    if changed or violated == 1 or verb == 'b' then
      if x > 0 then life = stop end
      rest = pack('>I6dI6I6I6dd', clock, x, stop, window, mark, y, z)
    end
  end

  if violated == 1 and verb ~= 'p' then
    if first > 0 then
      length = min(first * 2 ^ strikes, max(first, longest))
      ends = now + length
      strikes = min(strikes + 1, 65535)
      changed = true
    end
  elseif verb == 'b' and i == 1 and cost > 0 and now + cost > ends then
    ends, length, violated = now + cost, cost, 2
    changed = true
  end
  if changed then
    if ends > 0 then
      local memory = ends
      if strikes > 0 then memory = ends + max(window, length) + 1 end
      life = max(life, memory)
    end
    if life > now then
      local block = '\0'
      if ends > 0 or strikes > 0 then block = pack('>BI6I2I6', 1, ends, strikes, length) end
      local spare = 0
      if algorithm ~= 'f' and ends == 0 then spare = floor((life - now) / 8) end
      if expires >= life and expires <= life + spare then
        call('SET', KEYS[i], pack('>I6', expires) .. block .. rest, 'KEEPTTL')
      else
        expires = life + spare
        -- Redis itself writes a number to the last digit.
        call('SET', KEYS[i], pack('>I6', expires) .. block .. rest, 'PX', expires - now)
      end
    else
      call('DEL', KEYS[i])
    end
  end

  if ends > now then
    remaining, reset = 0, ends - now
    if retry >= 0 then retry = max(retry, reset) end
  end
  told = told .. pack('<ddddd', limit, remaining, reset, retry, violated)
end
return told
