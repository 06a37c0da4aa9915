-- The leases of a GCRA state: runs of (end, units).

-- Returns the units of `leases` that end at `ends`, and when the last ones end.
local function leasedUntil(leases, ends)
  local found, last = 0, 0
  for from = 1, #leases, LEASE_SIZE do
    local each, units = read(LEASE, leases, from)
    if each == ends then found = units end
    last = max(last, each)
  end
  return found, last
end

-- Returns `leases` with `units` that end at `ends`.
local function withLease(leases, ends, units)
  local result, isNew = '', true
  for from = 1, #leases, LEASE_SIZE do
    local each, held = read(LEASE, leases, from)
    if each == ends then held, isNew = units, false end
    if held > 0 then result = result .. pack(LEASE, each, held) end
  end
  if isNew and units > 0 then result = result .. pack(LEASE, ends, units) end
  return result
end
