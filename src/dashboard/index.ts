/** The server of the dashboard. Nothing loads it before an operator asks for a page. */
export { DashboardRouter } from './router.ts'
