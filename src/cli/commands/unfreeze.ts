import type { Configure } from '../command.ts'
import { configureFreeze } from '../freeze-command.ts'

export const configure: Configure = configureFreeze('unfreeze')
