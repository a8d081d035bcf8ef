"""The HTTP API of PVC: what clients of PVC's API v1 know, and what came after. docs/api.md is the map.

route.py is what a route is, routes/ has one file per noun, wire/ what goes out, params.py what comes in, errors.py
decides every HTTP status. frontend.py listens; app.py stands between Falcon and the routes.
"""
