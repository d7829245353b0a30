"""The Studios page: plain ES modules on the public API, no build step.

**Start here:** `static/main.js` for the page, `serve` for how it reaches the browser.

- `serve`             hands out the files, and the headers that fence every page in
- `static/main.js`    joins the live list with its cards and dialogs
- `static/live.js`    the list as the server has it, kept up to date by `/api/events`
- `static/api.js`     calls of the public API
- `static/card.js`    one Studio in the list
- `static/dialogs.js` adding and deleting
- `static/confirm.js` one question before something that can't be undone
- `static/words.js`   how things are said: pure functions
- `static/checkpoints.js` a Studio's checkpoints, and saving now
- `static/checkpoint-row.js` one of them in the list
- `static/files.js`   what is in one, and files out of it
- `static/saved-words.js` how all of that is said: pure functions
"""
