import { configureMeasure } from '../measure-command.ts'

export const configure = configureMeasure('params')
