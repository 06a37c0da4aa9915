local capacity = parameter * window
if chargesDenied and limit > 0 and cost <= parameter then units = cost end
if lease and action == 'charge' then
  local ends = (floor(clock / lease) + LIVES) * lease
  leases = withLease(leases, ends, leasedUntil(leases, ends) + units)
  held, units, changed = held + units * window, 0, units > 0
elseif granted then
  -- `cost` of the `granted` units were not used. Without a lease at that end they count as used already.
  local ends = (floor(chargedAt / lease) + LIVES) * lease
  local known = leasedUntil(leases, ends)
  if known > 0 then
    local returned = min(known, granted)
    leases = withLease(leases, ends, known - returned)
    held, units, changed = held - returned * window, max(0, granted - cost), true
  end
end
if units > 0 then
  if clock - mark >= window or clock < mark then
    lowBefore = 0
    if clock >= mark and clock - mark < 2 * window then lowBefore = low end
    mark, low = clock, level
  end
  -- A denied charge fills the level, no more. Otherwise the wait would grow with every attempt.
  local top = MAX_UNITS * window
  if chargesDenied then top = max(level, capacity) end
  level = min(level + units * window, top)
  changed = true
elseif action == 'refund' and not granted and cost > 0 and level > 0 then
  -- With `chargedAt`, only what cannot have drained since: the charge less the drain, or as much as the level always held.
  local back = cost * window
  if chargedAt > 0 then
    local heldLevel = 0
    if chargedAt >= mark then heldLevel = low elseif chargedAt >= mark - window then heldLevel = min(low, lowBefore) end
    back = max(back - max(0, clock - chargedAt) * limit, min(back, heldLevel))
  end
  back = min(back, level)
  if back > 0 then
    level, low, lowBefore = level - back, max(0, low - back), max(0, lowBefore - back)
    changed = true
  end
end
if changed then
  local drained = window
  if limit > 0 then drained = ceil((level + held) / limit) end
  local _, last = leasedUntil(leases, 0)
  drainedAt = max(clock, last) + min(drained, MAX_MS)
end
if limit == 0 then
  reset = window
  if asksForRetry then retry = -1 end
else
  remaining = max(0, floor((capacity - level - held) / window))
  if remaining < parameter then
    reset = max(0, min(ceil((level + held - (parameter - remaining - 1) * window) / limit) + clock, drainedAt) - now)
  end
  if asksForRetry and level + held + cost * window > capacity then
    retry = -1
    if cost <= parameter then retry = min(ceil((level + held + cost * window - capacity) / limit) + clock, drainedAt) - now end
  end
end
if changed or mayBlock then
  if level + held > 0 then
    countsUntil = drainedAt
    spare = floor((countsUntil - now) / 8)
  end
  state = pack(STATE, clock, level, drainedAt, window, mark, low, lowBefore) .. leases
end
