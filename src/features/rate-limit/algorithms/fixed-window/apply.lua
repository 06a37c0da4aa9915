if chargesDenied and cost <= limit then units = cost end
units = min(units, MAX_UNITS - count)
if action == 'refund' and (chargedAt == 0 or (chargedAt >= periodEnd - window and chargedAt < periodEnd)) then
  units = -min(cost, count)
end
if units ~= 0 then
  count = count + units
  changed = true
end
remaining = max(0, limit - count)
reset = periodEnd - now
if asksForRetry and count + cost > limit then
  retry = -1
  if cost <= limit then retry = reset end
end
if changed or mayBlock then
  if count > 0 then countsUntil = periodEnd end
  state = pack(STATE, periodEnd, count)
end
