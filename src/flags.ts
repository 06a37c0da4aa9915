/** Feature flags, maintenance mode and configuration, over an instance of any framework. */
import type { RequestFlags } from './extensions/flags/options.ts'

/** What `flags()` adds to a request. `feature.of(req)` has the types of your flags. */
export interface FlagRequestProperties {
  /** With `flags()`: the flags of this request. */
  flags: RequestFlags
}

declare global {
  namespace Express {
    // Inherited, so that an application may declare a property of the same name more narrowly.
    interface Request extends FlagRequestProperties {}
  }
}

export { config, flags, maintenance, openFeatureProvider } from './extensions/flags/index.ts'
export type { Config, ConfigOptions } from './extensions/flags/config.ts'
export type {
  FlagEvaluationContext,
  FlagProvider,
  FlagResolution,
} from './extensions/flags/open-feature.ts'
export type {
  Maintenance,
  MaintenanceOnOptions,
  MaintenanceOptions,
  MaintenanceStatus,
} from './extensions/flags/maintenance.ts'
export type {
  BooleanFlag,
  FlagChange,
  FlagChangeOptions,
  FlagDefaults,
  FlagRule,
  Flags,
  FlagSetting,
  FlagsOptions,
  FlagState,
  FlagSubject,
  FlagValue,
  FlagValueOf,
  FlagVariant,
  RequestFlags,
} from './extensions/flags/options.ts'
