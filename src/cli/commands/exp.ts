export { configure } from './params.ts'
