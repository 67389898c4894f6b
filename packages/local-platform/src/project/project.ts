import { join } from "node:path";

/** A project that the platform runs: any folder with `supabase/` in it. */
export interface Project {
  /** The folder that holds supabase/. */
  root: string;
  /**
   * Its short name, in lower case. What the platform keeps for it is in `.<name>` of the folder, and the
   * environment variables that steer the platform begin with `<NAME>_`.
   */
  name: string;
}

/** The environment variable of a project: `variableOf(project, "API_PORT")` is `<NAME>_API_PORT`. */
export function variableOf({ name }: Project, what: string): string {
  return `${name.toUpperCase().replaceAll("-", "_")}_${what}`;
}

/** The folder in a project that is the platform's own. */
export function stateDirOf({ root, name }: Project): string {
  return join(root, `.${name}`);
}
