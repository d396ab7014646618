import { expect } from 'vitest'
import type { CommandResult } from './repo.ts'

/** Holds a failed command to its shape: this status, one line that says what, one hint that ends as a sentence does, no stack trace.
 *  @returns the message and the hint, to match further */
export function expectFailure(result: CommandResult, exitCode: number, message: RegExp | string): string {
  const lines = result.stderr.trimEnd().split('\n')
  expect({ exitCode: result.exitCode, stderr: result.stderr }).toEqual({ exitCode, stderr: expect.stringContaining('error: ') })
  expect(result.stderr).not.toMatch(/\n {4}at |has a bug/)
  const at = lines.findIndex((line) => line.startsWith('error: '))
  const [said = '', hint = '', ...more] = lines.slice(at)
  expect(more).toEqual([])
  expect(said).toMatch(message)
  expect(hint).toMatch(/^ {2}\S.*\S$/)
  return `${said}\n${hint}`
}
