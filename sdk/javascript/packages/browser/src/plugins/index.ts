// Every plug-in. Each is a module of its own: what is not imported is not in the bundle.
export { type AttributionOptions, attribution, type Touch } from './attribution.js'
export {
  type ConsentOptions,
  type ConsentSource,
  consent,
  oneTrust,
  type Preferences,
  preferences,
} from './consent.js'
export { type CookielessOptions, cookieless } from './cookieless.js'
export { type FormOptions, forms } from './forms.js'
export { type GpcOptions, gpc } from './gpc.js'
export { type LinkOptions, links, trackForm, trackLink } from './links.js'
export { type SessionOptions, sessions } from './sessions.js'
export { type Signals, signals } from './signals.js'
export { type SpaOptions, spa } from './spa.js'
export { type VitalsOptions, vitals } from './vitals.js'
