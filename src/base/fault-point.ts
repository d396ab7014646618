import { appendFileSync } from 'node:fs'

/** What is to go wrong, and where: the number of a point, among those of one name where a name is given. */
interface Fault {
  /** kill, stop, or a system error's code */
  kind: string
  at: number
  /** also at every later point, as a disk that is full stays full */
  onwards: boolean
  name: string | undefined
}

// Threads inherit it, each with a count of its own.
const setting = process.env.MLV_FAULT
const listFile = setting?.startsWith('list:') ? setting.slice('list:'.length) : undefined
const fault = setting && listFile === undefined ? parseFault(setting) : undefined
let passed = 0

function parseFault(text: string): Fault | undefined {
  const found = /^(kill|stop|E[A-Z]+):(\d+)(\+?)(?:@(.+))?$/.exec(text)
  return found ? { kind: found[1]!, at: Number(found[2]), onwards: found[3] === '+', name: found[4] } : undefined
}

/** A moment just before something is written, flushed, named or deleted, at which tests let the process die or the disk fail.
 *  Costs one comparison unless MLV_FAULT is set: `list:FILE` appends the name of each point to FILE; `kill:3` is SIGKILL at the third point,
 *  `stop:1@NAME` is SIGSTOP at the first of that name; `ENOSPC:3`, or any system error's code, is thrown there, `ENOSPC:3+` at all later ones, too.
 *  @param name what is about to happen, `thing: act` */
export function faultPoint(name: string): void {
  if (setting === undefined) return
  if (listFile !== undefined) appendFileSync(listFile, `${name}\n`)
  if (!fault || (fault.name !== undefined && fault.name !== name)) return
  passed++
  if (passed !== fault.at && !(fault.onwards && passed > fault.at)) return
  // A full disk lets files be deleted.
  if (fault.kind.startsWith('E') && /: (delete|give back)$/.test(name)) return
  if (fault.kind === 'kill') process.kill(process.pid, 'SIGKILL')
  else if (fault.kind === 'stop') process.kill(process.pid, 'SIGSTOP')
  else throw Object.assign(new Error(`${fault.kind}: ${name}`), { code: fault.kind, syscall: 'write' })
}
