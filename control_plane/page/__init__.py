"""The Studios page: plain ES modules on the public API, no build step.

**Start here:** `static/main.js` for the page, `serve` for how it reaches the browser.

- `serve`             hands out the files, and the headers that fence every page in
- `static/main.js`    joins the live list with its cards and dialogs
- `static/live.js`    the list as the server has it, kept up to date by `/api/events`
- `static/api.js`     calls of the public API
- `static/card.js`    one Studio in the list
- `static/dialogs.js` adding and deleting
- `static/words.js`   how things are said: pure functions
"""
