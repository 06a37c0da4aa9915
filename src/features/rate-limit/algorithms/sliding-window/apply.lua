if chargesDenied and cost <= limit then units = cost end
units = min(units, MAX_UNITS - total)
if units > 0 then
  local cell = 1
  if limit > parameter or #log - from >= parameter * RUN_SIZE then cell = floor(window / parameter) + 1 end
  if total > 0 and floor(last / cell) == floor(clock / cell) then
    log = sub(log, from, -RUN_SIZE - 1) .. pack(RUN, clock, lastUnits + units)
  else
    log = sub(log, from) .. pack(RUN, clock, units)
    if #log > (parameter + 1) * RUN_SIZE then
      log = compacted(log, floor(window / parameter) + 1)
      first = read(RUN, log)
    end
  end
  if #log == RUN_SIZE then first = clock end
  total, last, from, changed = total + units, clock, 1, true
elseif action == 'refund' and cost > 0 and total > 0 then
  -- Only from the run that holds `chargedAt`. Taken from a later run, a use would stop to count too early.
  local cell = floor(window / parameter) + 1
  local left, next, kept = cost, from, ''
  while next < #log and left > 0 do
    local time, units = read(RUN, log, next)
    if time >= chargedAt then
      if chargedAt > 0 and floor(time / cell) ~= floor(chargedAt / cell) then break end
      local taken = min(left, units)
      left = left - taken
      total = total - taken
      changed = true
      if units > taken then kept = kept .. pack(RUN, time, units - taken) end
      if chargedAt > 0 then left = 0 end
    else
      kept = kept .. sub(log, next, next + RUN_SIZE - 1)
    end
    next = next + RUN_SIZE
  end
  if changed then
    log, from = kept .. sub(log, next), 1
    if total > 0 then first, last = read(RUN, log), read(RUN, log, #log - RUN_SIZE + 1) end
  end
end
remaining = max(0, limit - total)
reset = window
if total > 0 then reset = first + window - now end
if asksForRetry and total + cost > limit then
  retry = -1
  if cost <= limit then retry = departure(log, from, total + cost - limit, window) end
end
if changed or mayBlock then
  if total > 0 then
    countsUntil = last + window
    spare = floor((countsUntil - now) / 8)
    state = packed(total, log, from, parameter - 1)
  else
    state = string.rep('\0', STATE_SIZE)
  end
end
