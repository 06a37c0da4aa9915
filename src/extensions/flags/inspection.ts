/** The switch of maintenance, for a program that mounts no middleware. */
export {
  inspectMaintenance,
  maintenanceKey,
  MAX_BY,
  openMaintenanceSwitch,
  type MaintenanceState,
} from './maintenance-switch.ts'
