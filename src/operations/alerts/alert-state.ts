/** The states of an alert, and how reports move it from one to the next. */

/** What a report says of a value. `between`: neither bad nor good enough to end an alert. */
export type AlertVerdict = 'bad' | 'between' | 'good'

/** What changed. */
export type AlertChange = 'none' | 'firing' | 'resolved' | 'reminder'

/** Times in ms since the epoch. */
export interface AlertState {
  readonly state: 'pending' | 'firing'
  /** When the value became bad. */
  readonly since: number
  /** When it was notified last; 0 before it fires. */
  readonly notifiedAt: number
  /** Since when the value of a firing alert is good; 0 if it is not. */
  readonly goodSince: number
}

/** Settings of a rule that the states depend on, in ms. */
export interface AlertTimes {
  /** How long a value must be bad before the alert fires, and good before it is resolved. */
  readonly forMs: number
  /** Pause between reminders while it fires. 0: none. */
  readonly remindMs: number
}

/** Returns the state after a report, undefined if there is no alert, and what changed. */
export function nextAlertState(
  before: AlertState | undefined,
  verdict: AlertVerdict,
  { forMs, remindMs }: AlertTimes,
  now: number,
): { state: AlertState | undefined; change: AlertChange } {
  if (before?.state !== 'firing') {
    if (verdict !== 'bad') return { state: undefined, change: 'none' }
    const since = before?.since ?? now
    if (now - since < forMs)
      return { state: { state: 'pending', since, notifiedAt: 0, goodSince: 0 }, change: 'none' }
    return { state: { state: 'firing', since, notifiedAt: now, goodSince: 0 }, change: 'firing' }
  }
  const goodSince = verdict === 'good' ? before.goodSince || now : 0
  if (verdict === 'good' && now - goodSince >= forMs)
    return { state: undefined, change: 'resolved' }
  const isDue = remindMs > 0 && now - before.notifiedAt >= remindMs
  const notifiedAt = isDue ? now : before.notifiedAt
  return { state: { ...before, goodSince, notifiedAt }, change: isDue ? 'reminder' : 'none' }
}
