#include "jobs/data_plane.h"
#include "postgres/connection.h"

namespace holdfast::jobs {

postgres::ServerInfo DataPlane::read_server(
    const postgres::ConnectionParameters& connection, std::stop_token stop
) {
    postgres::Connection session = postgres::Connection::open(connection, stop);
    return postgres::read_server_info(session, stop);
}

}  // namespace holdfast::jobs
