// Calls of the public API, made with the page's cookie.

/** An answer that isn't a success. `message` is the server's sentence, made to be shown. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Call `path`; returns the parsed body, or null for none. A session that is over leads to login. */
export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  // Other origins can't send this header without being asked first, and the server asks nobody in.
  if (method !== "GET") headers["X-Studios-Request"] = "1";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ApiError(0, "The server doesn’t answer. Check that it runs, then try again.");
  }
  if (answer.status === 401) {
    goToLogin();
    throw new ApiError(401, "You are logged out.");
  }
  const parsed = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new ApiError(answer.status, parsed?.message ?? `The server answered ${answer.status}.`);
  }
  return parsed;
}

export function goToLogin() {
  const here = location.pathname + location.search;
  location.assign(`/login?next=${encodeURIComponent(here)}`);
}

const studio = (id, rest = "") => `/api/studios/${id}${rest}`;

export const me = () => call("GET", "/api/user-info");
export const templates = () => call("GET", "/api/studios/templates");
export const checkName = (name) => call("GET", `/api/studios/validate?name=${encodeURIComponent(name)}`);
export const add = (body, { start }) => call("POST", `/api/studios?autoStart=${start}`, body);
export const start = (id) => call("PUT", studio(id, "/start"), {});
export const stop = (id) => call("PUT", studio(id, "/stop"));
export const extend = (id) => call("POST", studio(id, "/lifespan"));
export const remove = (id) => call("DELETE", studio(id));

const checkpoint = (id, number, rest = "") => studio(id, `/checkpoints/${number}${rest}`);

/** Newest first; at most 50 at a time. */
export const checkpoints = (id, offset) => call("GET", studio(id, `/checkpoints?max=50&offset=${offset}`));
export const saveNow = (id) => call("POST", studio(id, "/checkpoints"));
export const renameCheckpoint = (id, number, name) => call("PUT", checkpoint(id, number), { name });
export const removeCheckpoint = (id, number) => call("DELETE", checkpoint(id, number));

/** `path` is percent-encoded already, as the API has it: names of files need not be text. */
const pathQuery = (path) => `?path=${path.replaceAll("/", "%2F")}`;
export const files = (id, number, path, after) =>
  call("GET", checkpoint(id, number, `/files${pathQuery(path)}&after=${after}`));
export const fileAddress = (id, number, path) => checkpoint(id, number, `/file${pathQuery(path)}`);

/** Throw what is wrong with a download's address; of what is right no more than the head is taken. */
export async function checkFile(address) {
  const given = new AbortController();
  let answer;
  try {
    answer = await fetch(address, { signal: given.signal });
  } catch {
    throw new ApiError(0, "The server doesn’t answer. Check that it runs, then try again.");
  }
  if (answer.status === 401) goToLogin();
  if (!answer.ok) {
    const parsed = await answer.json().catch(() => null);
    throw new ApiError(answer.status, parsed?.message ?? `The server answered ${answer.status}.`);
  }
  given.abort();
}

/** Every Studio, page by page: one answer holds at most 100. */
export async function list() {
  const all = [];
  for (;;) {
    const { studios, totalSize } = await call("GET", `/api/studios?max=100&offset=${all.length}`);
    all.push(...studios);
    if (studios.length === 0 || all.length >= totalSize) return all;
  }
}
