import { createInterface } from 'node:readline/promises'
import { MlvError } from '../base/errors.ts'

/** Asks before something that cannot be undone. Without a terminal nobody can answer. @throws USAGE then; INTERRUPTED when the answer is not yes */
export async function confirm(question: string, signal?: AbortSignal): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new MlvError('USAGE', `${question} Nobody can be asked without a terminal`, {
      hint: 'Look at it with "--dry-run" first; then say yes with "--yes".',
    })
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(`${question} [y/N] `, { signal })
    if (!/^y(es)?$/i.test(answer.trim())) throw new MlvError('INTERRUPTED', 'Nothing was changed')
  } finally {
    terminal.close()
  }
}
