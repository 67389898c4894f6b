import { fileURLToPath } from "node:url";
import type { Project } from "local-platform/project/project";

/** Where packages that tests need are kept, out of the way. */
const cache = fileURLToPath(new URL("../../../node_modules/.cache", import.meta.url));

/** A project without anything in it, for tests that need a place and a Postgres only. */
export const project: Project = { root: cache, name: "local-platform" };

/** Where {@link project} keeps the templates of the test server. */
export const keptTemplates = `${cache}/local-platform-templates`;
