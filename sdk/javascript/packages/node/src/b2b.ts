// The ten events of the B2B SaaS specification: names, properties and the account as `context.groupId`.
import type { Admitted } from './calls.js'
import type { Callback, Id, Identity, Timestamp, TrackParams, Values } from './types.js'

/** Who did it, in which account, and what else `track` takes. */
export interface Subject extends Identity {
  readonly accountId: Id
  readonly context?: Values
  readonly timestamp?: Timestamp
  readonly messageId?: string
  /** Properties of your own, beside those of the event. */
  readonly properties?: Values
}

export interface Account {
  readonly accountName?: string
}

export interface SignUp {
  /** How the user came: `invited`, `organic`, ... */
  readonly type?: string
  readonly firstName?: string
  readonly lastName?: string
  readonly email?: string
  readonly phone?: string
  readonly username?: string
  readonly title?: string
}

export interface Invite {
  readonly inviteeEmail?: string
  readonly inviteeFirstName?: string
  readonly inviteeLastName?: string
  readonly inviteeRole?: string
}

export interface Trial {
  readonly trialStartDate?: Date | string
  readonly trialEndDate?: Date | string
  readonly trialPlanName?: string
}

type Track = (params: TrackParams, callback?: Callback) => Admitted
type Call<T> = (params: Subject & T, callback?: Callback) => Admitted

export class B2b {
  readonly accountCreated: Call<Account>
  readonly accountDeleted: Call<Account>
  readonly signedUp: Call<SignUp>
  readonly signedIn: Call<{ readonly username?: string }>
  readonly signedOut: Call<{ readonly username?: string }>
  readonly inviteSent: Call<Invite>
  readonly accountAddedUser: Call<{ readonly role?: string }>
  readonly accountRemovedUser: Call<object>
  readonly trialStarted: Call<Trial>
  readonly trialEnded: Call<Trial>

  constructor(track: Track) {
    const named =
      <T>(event: string): Call<T> =>
      (params, callback) =>
        track(trackOf(event, params), callback)
    this.accountCreated = named('Account Created')
    this.accountDeleted = named('Account Deleted')
    this.signedUp = named('Signed Up')
    this.signedIn = named('Signed In')
    this.signedOut = named('Signed Out')
    this.inviteSent = named('Invite Sent')
    this.accountAddedUser = named('Account Added User')
    this.accountRemovedUser = named('Account Removed User')
    this.trialStarted = named('Trial Started')
    this.trialEnded = named('Trial Ended')
  }
}

function trackOf(event: string, params: Subject): TrackParams {
  const { accountId, userId, anonymousId, context, timestamp, messageId, properties, ...own } = params
  const named = Object.entries(own).map(([name, value]) => [snake(name), value])
  return {
    event,
    userId,
    anonymousId,
    timestamp,
    messageId,
    properties: { ...properties, ...Object.fromEntries(named) },
    context: { groupId: String(accountId), ...context },
  }
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
