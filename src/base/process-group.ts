import { readdirSync, readFileSync } from 'node:fs'
import { systemCode } from './errors.ts'

/** Whether any process of a group runs, be it another user's. */
export function groupRuns(group: number): boolean {
  if (!(group > 1)) return false
  try {
    process.kill(-group, 0)
  } catch (error) {
    if (systemCode(error) === 'EPERM') return true
    if (systemCode(error) === 'ESRCH') return false
    throw error
  }
  return hasMember(group)
}

/** Whether it has more than what has ended: where nobody collects that, as in a container without an init, it keeps its number. */
function hasMember(group: number): boolean {
  let processes: string[]
  try {
    processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    // No /proc on this system: what can be sent a signal runs.
    return true
  }
  return processes.some((id) => {
    try {
      // pid (name) state parent group …, where the name may hold anything
      const [state, , itsGroup] = readFileSync(`/proc/${id}/stat`, 'latin1').split(') ').at(-1)!.split(' ')
      return Number(itsGroup) === group && state !== 'Z' && state !== 'X'
    } catch {
      // It has ended meanwhile.
      return false
    }
  })
}
