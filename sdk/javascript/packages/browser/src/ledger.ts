// What became of events since the last report.
import type { FlushReport, Outcome } from './types.js'

/** Entries in each list of a report; the counts go on. */
const DETAILS = 1000

const empty = () => ({
  delivered: 0,
  rejected: [] as Outcome[],
  rejectedCount: 0,
  dropped: [] as Outcome[],
  droppedCount: 0,
  queued: 0,
})

export interface Ledger {
  note(status: Outcome['status'], messageId: string, type: string, code: string, message: string): Outcome
  /** The report; the next one starts anew. */
  report(queued: number): FlushReport
}

/** `hear` is told of every outcome as it is noted. */
export function ledger(hear: (outcome: Outcome) => void): Ledger {
  let current = empty()
  return {
    note(status, messageId, type, code, message) {
      const outcome = { status, messageId, type, code, reason: code, message }
      if (status === 'delivered') current.delivered++
      else if (status !== 'handed_over' && current[`${status}Count`]++ < DETAILS)
        current[status].push(outcome)
      hear(outcome)
      return outcome
    },
    report(queued) {
      const done = { ...current, queued }
      current = empty()
      return done
    },
  }
}
