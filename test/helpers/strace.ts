import { spawnSync } from 'node:child_process'
import { findProgram } from './server-process.ts'

/** Why the tests that watch commands cannot run here; undefined where they can. */
export function straceProblem(): string | undefined {
  if (findProgram('strace') === undefined) return 'no strace on PATH'
  const { status, stderr } = spawnSync('strace', ['-f', '-o', '/dev/null', '/bin/sh', '-c', ':'], { encoding: 'utf8' })
  return status === 0 ? undefined : `strace may not trace here: ${stderr.trim().split('\n').at(-1)}`
}
